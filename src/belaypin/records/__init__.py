"""Records: what the store hands out: frozen, typed, with times as aware datetimes in UTC."""
