"""Programs that use paramserver as its users do."""
