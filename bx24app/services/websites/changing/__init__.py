"""Changes of requests that were accepted: what customers and sites' servers may do without the desk."""
