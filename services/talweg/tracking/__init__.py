"""The mirror to MLflow: what stands in SQL is sent on, as often as it takes. `python -m talweg.tracking` runs it.

Importing this room does not import MLflow, which takes seconds; `connect` does.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from talweg.tracking.destination import Destination

# MLflow's own retries would block the mirror for four minutes a call, and repeat a creation that was only
# answered too late. The mirror tries again by itself, after a look at what arrived.
_CLIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def connect(url: str) -> "Destination":
    """The MLflow server at `url`; it need not be up yet. Sets this process's MLflow client to give up early.

    Credentials come from MLflow's own variables: MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN.
    """
    os.environ.update(_CLIENT)
    from talweg.tracking.destination import Destination

    return Destination(url)
