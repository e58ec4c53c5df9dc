"""Makes the world match the store: loop (wake or tick) -> plan (pure) -> actions -> act."""
