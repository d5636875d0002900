"""An answer that is no success."""


class Refusal(Exception):
    """`complaint`: the request itself breaks the documented API, which a test looks for."""

    def __init__(self, status, reason, message, complaint=False, details=None, retry_after=None):
        super().__init__(message)
        self.status, self.reason, self.message, self.complaint = status, reason, message, complaint
        self.details, self.retry_after = details, retry_after

    def body(self):
        details = dict(self.details or {})
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        out = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
               "reason": self.reason, "code": self.status}
        if details:
            out["details"] = details
        return out


def bad(message):
    """A request that breaks the documented API."""
    return Refusal(400, "BadRequest", message, complaint=True)
