"""What items are: text, pictures, behaviour and semantic IDs as arrays, one row an item."""
