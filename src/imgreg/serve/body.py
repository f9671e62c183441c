"""A request's body, which must arrive in time: whoever holds a place without sending keeps others out."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request

SECONDS = 60.0


async def body_of(request: Request) -> bytes:
    """The whole body. raises HTTPException 408 if it takes too long, and 413 by the guard if it is too large"""
    try:
        return await asyncio.wait_for(request.body(), SECONDS)
    except TimeoutError as error:
        message = f"The request did not arrive within {SECONDS:g} seconds."
        raise HTTPException(408, message, {"Connection": "close"}) from error
