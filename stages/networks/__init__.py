"""Pure torch modules. They know no file system and no command line."""
