"""From pixels to features: the frozen VGG16, the engines that run it, and the cache that pays for it once."""
