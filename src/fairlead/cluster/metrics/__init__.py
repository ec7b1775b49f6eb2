"""What pods use and serve, measured when somebody asks: metrics.k8s.io and custom.metrics.k8s.io."""
