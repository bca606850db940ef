
S
order.protoshop.v1"3
Order
id (Rid
customer (	Rcustomerbproto3