"""What runs in the cloud, in the order a clip meets it."""
