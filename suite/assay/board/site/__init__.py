"""From checked submissions to the leaderboard's pages and tables."""
