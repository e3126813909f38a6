"""A small family, written by `docs/families.md` alone: are pictures still recognised when they move sideways?"""
