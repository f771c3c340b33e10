"""How property tests run everywhere: a busy machine may take its time with any example, and with drawing one.

Each run draws others, thirty of a property; STILLGATE_SCALE=reliability draws three hundred.
"""

import os

from hypothesis import HealthCheck, settings

PATIENT = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("patient", PATIENT)
settings.register_profile("thorough", PATIENT, max_examples=300)
settings.load_profile("thorough" if "STILLGATE_SCALE" in os.environ else "patient")
