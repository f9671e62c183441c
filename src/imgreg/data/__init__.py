"""From files to pixels: index, split, decode, augment. Nothing here knows of networks, heads or runs."""
