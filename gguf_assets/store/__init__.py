"""What lies on disk: captures, candidates, published days, the history of syncs and the writer's lock."""
