"""Names the trade that fires each condition, from a list of trades alone.

    triggers.py TRADES.csv[.gz] < CONDITIONS > FIRINGS

Each line of CONDITIONS is a position: {"position", "side", "conditions": [{"trigger", "price",
"after"}]}, with the triggers in the order in which they fire on one trade; `after` is the last trade
that was seen when the condition was set. Each line of FIRINGS is {"position", "trigger", "trade_id"}.
It knows nothing of the house.
"""

import csv
import gzip
import json
import sys
from decimal import Decimal


def meets(side, trigger, limit, price):
    falls = (side == "long") == (trigger != "take_profit")
    return price <= limit if falls else price >= limit


path = sys.argv[1]
with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
    trades = [(int(row["trade_id"]), Decimal(row["price"])) for row in csv.DictReader(file)]

for line in sys.stdin:
    position = json.loads(line)
    conditions = [(c["trigger"], Decimal(c["price"]), c["after"]) for c in position["conditions"]]
    firing = next(
        (
            (trigger, trade_id)
            for trade_id, price in trades
            for trigger, limit, after in conditions
            if trade_id > after and meets(position["side"], trigger, limit, price)
        ),
        None,
    )
    if firing:
        print(json.dumps({"position": position["position"], "trigger": firing[0], "trade_id": firing[1]}))
