"""Programs that tests of the supervisor run: a strategy that ends its process, and a daemon of bots alone."""

LEAVING = '''
import os
import subprocess
from pathlib import Path

import polars as pl

from strategies.base import Strategy
from strategies.parameters import Parameters


class {kind}Parameters(Parameters):
    """None."""


class {kind}(Strategy):
    """Ends its process."""

    model = {kind}Parameters
    warmup = window = 1
    indicator_names = ()

    def judge(self, candles):
        with Path("{note}").open("a") as note:
            note.write(f"{{subprocess.Popen(['sleep', '1000']).pid}}\\n")
        os._exit({code})
'''

DAEMON = """
import asyncio
from config.settings import settings
from live.bots.supervisor import BotSupervisor
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.database import engine

async def main():
    await BotSupervisor(settings(), engine(settings().database_url), RedisBus(settings().redis_url)).run()

asyncio.run(main())
"""
