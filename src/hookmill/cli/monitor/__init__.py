"""`hookmill monitor`: what no process can say of itself once it is dead, seen from outside."""
