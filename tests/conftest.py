"""How property tests run everywhere: a busy machine may take its time with any example, and with drawing one."""

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
