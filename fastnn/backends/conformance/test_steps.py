"""Steps of training that a network states, in the backend's own way or over its operations."""
