"""Pictures of the chapter on gradients."""
