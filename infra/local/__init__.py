"""The cluster of compose.yaml as plain processes on this machine, for people (`make cluster`) and for tests.

PostgreSQL, an S3 server, MLflow behind accounts, a Ray head and worker nodes, all on loopback addresses:

    with local_cluster(folder) as world:
        subprocess.run([...], env=os.environ | world.env)

The S3 server is a stand-in that keeps everything in memory, so a world is new each time and gone afterwards.
"""

from infra.local.processes import ServiceFailed
from infra.local.world import World, local_cluster

__all__ = ["ServiceFailed", "World", "local_cluster"]
