"""For tests of a team's own receiver: deliveries, signed as their provider signs them.

```python
from hookmill.testing.providers import deliveries

for delivery in deliveries("stripe", secret="whsec_…", seed=7, count=50, duplicates=0.2):
    answer = client.post("/webhooks", content=delivery.body, headers=delivery.headers)
```

The same seed gives the same business. A receiver that judges signed times is handed `at_us`.
"""

from hookmill.local.simulated import AT_US, SimulatedDelivery, deliveries

__all__ = ["AT_US", "SimulatedDelivery", "deliveries"]
