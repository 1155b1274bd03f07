"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """A mistake or a lack the user can repair: says what, where and what to do about it."""
