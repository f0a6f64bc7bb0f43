"""The assets of the flow, one module per stretch: capture, catalogue, quality, publish."""
