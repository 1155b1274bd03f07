"""snakemake, which asks for the states of its jobs every half second.

The executors wait up to three minutes between two questions, as is polite to a cluster that others
use too, and no setting shortens that. Nothing else differs: `python polling.py ARGUMENTS`.
"""

import asyncio

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def short_sleep(self):
    await asyncio.sleep(0.5)


RemoteExecutor.sleep = short_sleep
main()
