"""Floor 3: code that is not trusted to stop, in processes that the node can kill.

`open_extension_host` is the way in; what it runs comes from `Enabling.extensions`, its processes from
`open_processes`. A call ends in a `CallOutcome`, whatever the extension did (EXT-4).
"""

from web4.extensions.conversation.call import (
    Ask,
    IntentReply,
    LogLine,
    OnLog,
    OnProgress,
    ProgressUpdate,
    UiQuestion,
    UiReply,
)
from web4.extensions.enabling.standing import EnabledExtension
from web4.extensions.errors import (
    CallError,
    EnablingError,
    ExtensionError,
    ExtensionsConfigurationError,
    ManifestError,
    TreeError,
    WorkerStartError,
)
from web4.extensions.hosting.host import ExtensionHost, View, open_extension_host
from web4.extensions.hosting.host_health import ExtensionHealth, HostHealth
from web4.extensions.hosting.operations import Operation
from web4.extensions.hosting.options import HostOptions
from web4.extensions.hosting.provisional import Provisional, read_provisional
from web4.extensions.manifests.manifest import Manifest
from web4.extensions.outcome import CODES, CallOutcome
from web4.extensions.pool.pool_health import PoolHealth
from web4.extensions.processes import Processes, open_processes
from web4.worker.frames import CallContext

__all__ = [
    "CODES",
    "Ask",
    "CallContext",
    "CallError",
    "CallOutcome",
    "EnabledExtension",
    "EnablingError",
    "ExtensionError",
    "ExtensionHealth",
    "ExtensionHost",
    "ExtensionsConfigurationError",
    "HostHealth",
    "HostOptions",
    "IntentReply",
    "LogLine",
    "Manifest",
    "ManifestError",
    "OnLog",
    "OnProgress",
    "Operation",
    "PoolHealth",
    "Processes",
    "ProgressUpdate",
    "Provisional",
    "TreeError",
    "UiQuestion",
    "UiReply",
    "View",
    "WorkerStartError",
    "open_extension_host",
    "open_processes",
    "read_provisional",
]
