"""Vectors of several embedding recipes at once, and the one that search answers from."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Vectors of any dimension; an index is of one, and partial. 384 is what there was until now.
    op.execute("DROP INDEX events_embedding")
    op.execute("ALTER TABLE events ALTER COLUMN embedding TYPE vector")
    op.execute("""
        CREATE TABLE vectors (
            embedding_recipe text NOT NULL,
            video_id bigint NOT NULL REFERENCES videos ON DELETE CASCADE,
            sentence uuid NOT NULL,
            embedding vector NOT NULL,
            PRIMARY KEY (embedding_recipe, video_id, sentence)
        )
    """)
    op.execute("CREATE INDEX vectors_video ON vectors (video_id)")
    for table in ("events", "vectors"):
        op.execute(f"""
            CREATE INDEX {table}_embedding ON {table}
                USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops) WITH (m = 16, ef_construction = 128)
                WHERE vector_dims(embedding) = 384
        """)
    op.execute("""
        CREATE TABLE embedding_spaces (
            embedding_recipe text PRIMARY KEY,
            dimension integer NOT NULL CHECK (dimension BETWEEN 1 AND 4000)
        )
    """)
    op.execute("INSERT INTO embedding_spaces SELECT DISTINCT embedding_recipe, 384 FROM events")
    op.execute("""
        CREATE TABLE search_pin (
            only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
            embedding_recipe text NOT NULL,
            previous text,
            switched_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        INSERT INTO search_pin (embedding_recipe)
        SELECT embedding_recipe FROM events GROUP BY embedding_recipe ORDER BY count(*) DESC, 1 LIMIT 1
    """)


def downgrade() -> None:
    op.execute("DROP TABLE search_pin, embedding_spaces, vectors")
    op.execute("DROP INDEX events_embedding")
    op.execute("ALTER TABLE events ALTER COLUMN embedding TYPE vector(384)")
    op.execute("""
        CREATE INDEX events_embedding ON events
            USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops) WITH (m = 16, ef_construction = 128)
    """)
