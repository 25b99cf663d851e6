"""What every request passes before a door sees it: limits, origins, keys, bodies, errors."""
