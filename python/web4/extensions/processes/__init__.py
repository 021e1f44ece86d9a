"""Worker processes as the node has them: started from a template, watched, killed as whole trees, cleaned up after.

`open_processes` is the way in. What a worker says, and when it has to die, is decided a room above.
"""

from web4.extensions.processes.kernel import KernelReport
from web4.extensions.processes.processes import Processes, open_processes
from web4.extensions.processes.spec import Exit, StartSpec, Usage
from web4.extensions.processes.worker_process import WorkerProcess

__all__ = ["Exit", "KernelReport", "Processes", "StartSpec", "Usage", "WorkerProcess", "open_processes"]
