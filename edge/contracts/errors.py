"""The whole error tree. The class says what the caller may do about it.

    RingroadError
      ContractError    the other side sent something invalid          never retry
        SchemaError         it does not decode, or a value is out of bounds
        HashMismatchError   the bytes are not the bytes that were promised
        SignatureError      too few valid signatures, or the wrong ones
        RollbackError       older than what is already trusted
      LinkError        the network or the store                       back off, then retry
        LinkDownError       the peer cannot be reached
        AckTimeoutError     the peer did not acknowledge in time
        StoreUnavailableError
      CapacityError    no room, no budget, no quota                   shed it, try later
        BudgetExceededError
        SpoolFullError
        QuotaError
      OperatorError    the request makes no sense                     tell the person

A refusal that is part of normal work (a quarantined clip, a failed gate) is a value, not an exception.
"""


class RingroadError(Exception):
    """Root of every error that Ringroad raises on purpose."""


class ContractError(RingroadError):
    """The other side sent something invalid; retrying cannot help."""


class SchemaError(ContractError):
    """Bytes that do not decode to the promised record."""


class HashMismatchError(ContractError):
    """Bytes whose hash differs from the promised one."""


class SignatureError(ContractError):
    """Too few valid signatures, or signatures of the wrong keys."""


class RollbackError(ContractError):
    """Something older than what is already trusted."""


class LinkError(RingroadError):
    """The network or the store failed; back off and retry."""


class LinkDownError(LinkError):
    """The peer cannot be reached."""


class AckTimeoutError(LinkError):
    """The peer did not acknowledge in time."""


class StoreUnavailableError(LinkError):
    """The object store or the catalog did not answer."""


class CapacityError(RingroadError):
    """No room, no budget or no quota; shed the work and try later."""


class BudgetExceededError(CapacityError):
    """The work would cost more than what is left."""


class SpoolFullError(CapacityError):
    """The vehicle's disk share for clips is full."""


class QuotaError(CapacityError):
    """A campaign or a vehicle has used up its quota."""


class OperatorError(RingroadError):
    """A request that makes no sense; the message says what would."""
