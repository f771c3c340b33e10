"""Controls: the admin API, the status page, and the rollout tick, which alone change a rollout stage."""
