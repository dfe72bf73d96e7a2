"""Three worker processes train a convolutional network on real handwritten digits through one parameter server."""
