-- Makes the engines' role and database, once: the image runs this when its volume is new. The
-- engines make their tables themselves. They are no superusers.
\set ON_ERROR_STOP on
\getenv password ENTASIS_POSTGRES__PASSWORD
CREATE ROLE entasis LOGIN PASSWORD :'password' CONNECTION LIMIT 50;
CREATE DATABASE entasis OWNER entasis ENCODING 'UTF8';
REVOKE ALL ON DATABASE entasis FROM PUBLIC;
