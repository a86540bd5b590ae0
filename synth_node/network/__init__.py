"""Speaking through an engine behind the network: what all of them share."""
