"""Every command of the pages, run."""
