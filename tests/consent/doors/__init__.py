"""The doors through which records can be asked for, by name. One function each: what did it show of the row's records?"""

from tests.consent.doors.table import DOORS

__all__ = ["DOORS"]
