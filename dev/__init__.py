"""What runs the platform on one machine without containers: environment, broker, processes, proxy, demo."""
