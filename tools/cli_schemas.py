"""The JSON schema of each command's ``--json``: docs/reference/json, and what tests validate by.

What a command answers with is a record of the public API, so its schema comes from that record's
types; what is put together by the command is written here.
"""

from __future__ import annotations

from typing import Any

import msgspec

import belaypin
from belaypin.cli.bench import Tax

__all__ = ["ERROR", "schemas"]

Schema = dict[str, Any]

BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
ANY: Schema = {}
NOTHING: Schema = {"type": "null"}
ITEM: Schema = {"type": ["integer", "string"]}


def record(kind: Any, **more: Schema) -> Schema:
    """The schema of a record as its ``as_dict`` writes it, and what that adds to the fields."""
    made = msgspec.json.schema(kind)
    definitions = made.pop("$defs")
    name = made["$ref"].rpartition("/")[2]
    schema: Schema = _inlined(definitions[name], definitions)
    return _closed({**schema["properties"], **more})


def shape(**fields: Schema) -> Schema:
    """An object with exactly these fields."""
    return _closed(fields)


def rows(of: Schema) -> Schema:
    """A page of a list, and where the next one begins."""
    return shape(rows={"type": "array", "items": of}, next=either(TEXT, NOTHING))


def either(*schemas: Schema) -> Schema:
    """One of several."""
    return {"anyOf": list(schemas)}


def _by_name(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def many(of: Schema) -> Schema:
    """Any number of them."""
    return {"type": "array", "items": of}


def _closed(fields: Schema) -> Schema:
    required = sorted(fields)
    return {
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": False,
    }


def _inlined(schema: Any, definitions: Schema) -> Any:
    """A schema without references; lengths of time are numbers of seconds; every field is there."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if schema.get("format") == "duration":
        return NUMBER
    if "prefixItems" in schema or schema.get("type") != "object" or "properties" not in schema:
        kept = {k: v for k, v in schema.items() if k not in ("default", "title", "description")}
        return {name: _inlined(part, definitions) for name, part in kept.items()}
    return _closed({n: _inlined(p, definitions) for n, p in schema["properties"].items()})


KEY = record(belaypin.Key)
TIME = TEXT

ERROR = shape(error=shape(kind=TEXT, message=TEXT, exit=COUNT))
"""What a command writes to the standard error, with --json, when it ends with another code than 0."""


def schemas() -> dict[str, Schema]:
    """The schema of each command's answer, by the command's name."""
    return {**_set_up(), **_run(), **_look(), **_mend(), **_keep()}


def _set_up() -> dict[str, Schema]:
    verdict = {"enum": ["ok", "warning", "error"]}
    check = shape(name=TEXT, verdict=verdict, found=TEXT, advice=TEXT)
    steps = many(shape(version=COUNT, name=TEXT, sql=TEXT))
    return {
        "init": shape(store=TEXT, source=TEXT, keys=COUNT),
        "migrate": shape(done=BOOLEAN, steps=steps),
        "doctor": shape(ok=BOOLEAN, checks=many(check)),
        "completion": shape(shell=TEXT, script=TEXT),
    }


def _run() -> dict[str, Schema]:
    plan = record(belaypin.Plan)
    outcome = shape(result=TEXT, error=either(TEXT, NOTHING), step=record(belaypin.Step))
    recovered = shape(
        ok=BOOLEAN, at=TIME, counts=_by_name(COUNT), outcomes=many(outcome), left=plan
    )
    sums = {"items": COUNT, "items_per_s": NUMBER, "lag_s": either(NUMBER, NOTHING)}
    return {
        "run": record(belaypin.RunReport, **sums, exit_code=COUNT),
        "plan": plan,
        "recover": either(recovered, plan),
        "prioritise": _bulk(TEXT),
    }


def _look() -> dict[str, Schema]:
    interval = record(belaypin.Interval)
    breach = shape(key=either(KEY, NOTHING), check=TEXT, value=NUMBER, limit=NUMBER, text=TEXT)
    health = {"efficiency": either(NUMBER, NOTHING), "orphans": COUNT, "stored_bytes": COUNT}
    figures = record(belaypin.Health, **health, compression_ratio=either(NUMBER, NOTHING))
    failure, group = record(belaypin.Failure), record(belaypin.FailureGroup)
    status = record(belaypin.Status)
    entity, stream = record(belaypin.EntityRow), record(belaypin.StreamRow)
    checked = shape(ok=BOOLEAN, breaches=many(breach))
    operation = record(belaypin.OperationRow)
    kind = record(belaypin.Stored, ratio=either(NUMBER, NOTHING))
    storage = {
        **record(belaypin.Storage, rows=COUNT, bytes=COUNT)["properties"],
        "kinds": many(kind),
    }
    return {
        "status": either(status, checked, rows(status), rows(entity), rows(stream)),
        "lag": rows(stream),
        "gaps": rows(record(belaypin.GapRow)),
        "coverage": rows(interval),
        "failures": either(rows(failure), rows(group), failure, NOTHING),
        "leases": rows(record(belaypin.LeaseRow)),
        "windows": rows(record(belaypin.WindowRow)),
        "orphans": shape(entities=many(entity), operations=many(operation)),
        "operations": either(rows(operation), record(belaypin.Operation), NOTHING),
        "items": rows(record(belaypin.ItemRow)),
        "explain": record(belaypin.Explanation, is_committed=BOOLEAN, text=TEXT),
        "get": either(record(belaypin.Checkpoint[Any]), NOTHING),
        "history": rows(record(belaypin.Version)),
        "diff": rows(record(belaypin.Difference)),
        "savepoints": rows(record(belaypin.Savepoint)),
        "outbox": rows(record(belaypin.Message)),
        "audit": rows(record(belaypin.AuditEntry)),
        "health": either(figures, rows(figures)),
        "metrics": rows(shape(metric=TEXT, labels=_by_name(TEXT), value=NUMBER)),
        "storage": _closed(storage),
    }


def _mend() -> dict[str, Schema]:
    failure = record(belaypin.Failure)
    chosen = either(
        shape(dry_run=BOOLEAN, items=COUNT, failures=many(failure)),
        shape(dry_run=BOOLEAN, items=COUNT),
    )
    rewound, told = _bulk(record(belaypin.Rewound)), _bulk(TEXT)
    return {
        "retry": chosen,
        "skip": chosen,
        "quarantine": shape(
            dry_run=BOOLEAN, key=KEY, item_id=ITEM, failure_id=either(COUNT, NOTHING)
        ),
        "readmit": told,
        "break-lease": told,
        "redeliver": shape(
            dry_run=BOOLEAN,
            count=COUNT,
            messages=many(record(belaypin.Message)),
            absent=many(TEXT),
        ),
        "fork": record(belaypin.Forked),
        "backfill": rewound,
        "reset": rewound,
        "rewind": rewound,
        "savepoint": either(record(belaypin.Savepoint), shape(key=KEY, name=TEXT, dropped=BOOLEAN)),
    }


def _bulk(result: Schema) -> Schema:
    """What was done to each of some keys."""
    one = shape(key=KEY, result=either(result, NOTHING), error=either(TEXT, NOTHING))
    return shape(dry_run=BOOLEAN, keys=COUNT, failed=COUNT, results=many(one))


def _keep() -> dict[str, Schema]:
    totals = {"rows": COUNT, "bytes": COUNT, "is_complete": BOOLEAN}
    figure = either(NUMBER, NOTHING)
    return {
        "gc": record(belaypin.GcReport, **totals),
        "compact": record(belaypin.CompactReport),
        "verify": record(belaypin.Report, ok=BOOLEAN),
        "upgrade-state": either(
            record(belaypin.UpcastReport), shape(dry_run=BOOLEAN, dropped=either(COUNT, NOTHING))
        ),
        "export": shape(pipeline=TEXT, file=TEXT, lines=COUNT, bytes=COUNT),
        "import": record(belaypin.Imported),
        "bench": record(Tax),
        "drill": _drill(),
        "demo": shape(
            items=COUNT,
            expected=COUNT,
            lost=COUNT,
            duplicates=COUNT,
            kills=COUNT,
            recovery_p50_s=figure,
            recovery_max_s=figure,
            skipped=COUNT,
        ),
    }


def _drill() -> Schema:
    difference = shape(
        kind=TEXT, where=TEXT, lost=COUNT, doubled=COUNT, examples=many(TEXT), hint=TEXT
    )
    counts = {"type": "object", "additionalProperties": COUNT}
    figure = either(NUMBER, NOTHING)
    return shape(
        pipeline=TEXT,
        kills=COUNT,
        kills_by_kind=counts,
        rounds=COUNT,
        lost=COUNT,
        doubled=COUNT,
        damaged=COUNT,
        recovery_p50_s=figure,
        recovery_p99_s=figure,
        recoveries=COUNT,
        rate_bound=figure,
        tables=counts,
        put_aside=COUNT,
        not_compared=many(TEXT),
        differences=many(difference),
        commits=COUNT,
        undisturbed_s=NUMBER,
        seed=COUNT,
        at_store=TEXT,
        is_proven=BOOLEAN,
    )
