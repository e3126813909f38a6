"""Small tools that every part uses, and that know no other part."""
