"""Everything that needs torch, and nothing else. Workers and the command import it, pages never do."""
