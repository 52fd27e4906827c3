"""API keys of the simulated exchange."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ApiKey:
    """Credentials that the exchange knows. They protect nothing: the simulated exchange holds no money."""

    key: str
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)


# for those who set up none of their own
SIM_KEY = ApiKey("sim-key", "sim-secret", "sim-passphrase")
