"""`hookmill doctor`: looks at everything that hookmill stands on, and says what to do about it."""
