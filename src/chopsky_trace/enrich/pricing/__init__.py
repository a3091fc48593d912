"""What a call costs: prices of the team's own and public ones, found by name, time and tier, and charged exactly."""
