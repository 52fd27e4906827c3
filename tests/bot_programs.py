"""Programs that tests of bots run: strategies that go wrong, and a daemon of bots alone."""

STRATEGY = '''
import polars as pl

from strategies.base import Strategy
from strategies.parameters import Parameters


class {kind}Parameters(Parameters):
    """None."""


class {kind}(Strategy):
    """{kind}."""

    model = {kind}Parameters
    warmup = window = 1
    indicator_names = ()
'''
"""As far as its judgement, which is of the test."""

LEAVING = f"""
import os
import subprocess
from pathlib import Path
{STRATEGY}
    def judge(self, candles):
        with Path("{{note}}").open("a") as note:
            note.write(f"{{{{subprocess.Popen(['sleep', '1000']).pid}}}}\\n")
        os._exit({{code}})
"""
"""Ends its process."""

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
