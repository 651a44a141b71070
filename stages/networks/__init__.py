"""Pure torch: generator, weight generator, attention, flow network, discriminators, losses. Nothing here knows a file system."""
