"""What the runtime and an engine say to each other. Imports neither torch nor SGLang."""
