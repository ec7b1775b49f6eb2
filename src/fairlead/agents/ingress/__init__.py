"""The ingress controller: Ingresses of any API server in, a running NGINX out."""
