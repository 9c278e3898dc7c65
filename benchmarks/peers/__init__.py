"""Programs that are measured beside ours: one file each, and what drives them in a process of their own."""
