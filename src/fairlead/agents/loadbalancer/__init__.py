"""The load-balancer agent: addresses for Services of type LoadBalancer, and the providers that bring traffic there."""
